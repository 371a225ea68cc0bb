"""What the server serves of sound, without any web framework: files, clips, pictures, uploads."""
