"""The denoising networks: MLP, U-Net and transformer behind one interface."""
