"""The files that labelled sets come in → what is measured with."""
