"""From folders of audio to a collection: walk, decode, cut, embed, store."""
