"""Pictures, masks, optical flow and clips in files: read, converted, written."""
