/** The page: each part is set up once, and follows the state from then on. */

import { begin } from "./actions.js";
import { setAnswers } from "./panels/answers.js";
import { setComparing } from "./panels/comparing.js";
import { setDetectors } from "./panels/detectors.js";
import { setDownloads } from "./panels/downloads.js";
import { setFilters } from "./panels/filters.js";
import { setLegend } from "./panels/legend.js";
import { setMessages } from "./panels/messages.js";
import { setResults } from "./panels/results.js";
import { setScores } from "./panels/scores.js";
import { setSource } from "./panels/source.js";
import { setStage } from "./view/stage.js";

setMessages();
setStage();
setSource();
setDetectors();
setComparing();
setLegend();
setFilters();
setResults();
setScores();
setAnswers();
setDownloads();
void begin();
