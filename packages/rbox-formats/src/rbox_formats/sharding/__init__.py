"""Long predictions in units of work: shards, computed by any process in any order, and joined into one file.

`shards` divides images, and the windows of very large ones, into shards of about equal cost. Each has one result,
in whatever process it is computed: a part file (`Parts`). The predictions file that is joined from all of them has the
same bytes whether one process, the processes of torchrun, an array of jobs or a cluster has computed them.
"""

from rbox_formats.sharding._manifest import Located, Manifest, make_manifest, read_manifest, write_manifest
from rbox_formats.sharding._parts import SUFFIX, Merge, Parts
from rbox_formats.sharding._predicting import Outcome, complete, detect_parts, records_of, share_of_environment
from rbox_formats.sharding._ray import RayCluster, detect_parts_on_ray
from rbox_formats.sharding._remote import find_scenes
from rbox_formats.sharding._running import (
    OnBroken,
    Read,
    ahead,
    detect_scenes,
    detect_shard,
    detect_shards,
    read_windows,
)
from rbox_formats.sharding._shards import Piece, Shard, shard_size, shards, shared
from rbox_formats.sharding._stac import read_stac

__all__ = [
    "SUFFIX",
    "Located",
    "Manifest",
    "Merge",
    "OnBroken",
    "Outcome",
    "Parts",
    "Piece",
    "RayCluster",
    "Read",
    "Shard",
    "ahead",
    "complete",
    "detect_parts",
    "detect_parts_on_ray",
    "detect_scenes",
    "detect_shard",
    "detect_shards",
    "find_scenes",
    "make_manifest",
    "read_manifest",
    "read_stac",
    "read_windows",
    "records_of",
    "shard_size",
    "shards",
    "share_of_environment",
    "shared",
    "write_manifest",
]
