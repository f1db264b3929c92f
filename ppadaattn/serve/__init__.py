"""Style transfer for other programs: PaddleHub's interface (`hub`) and an HTTP service (`service`)."""
