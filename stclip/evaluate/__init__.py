"""Frame mAP of score files: matching, average precision, soft voting, bootstrap over videos."""
