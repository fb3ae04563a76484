"""What any run needs of its machine: processes that share the work, memory, folders that appear whole."""
