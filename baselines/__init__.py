"""The methods ST-CLIP is compared with, one file each, behind the contract of stclip.method."""
