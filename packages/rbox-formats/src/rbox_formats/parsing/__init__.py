"""What readers of files from outside share: lines, JSON values and XML elements whose errors name their place."""
