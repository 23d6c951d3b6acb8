"""The methods ST-CLIP is compared with, behind the contract of `stclip.methods`."""
