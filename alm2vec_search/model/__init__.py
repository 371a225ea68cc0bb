"""ALM2Vec: audio encoder → projector → language model → pooling → projection → L2 norm."""
