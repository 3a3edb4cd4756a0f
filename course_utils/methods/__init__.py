"""The methods: from an image, a network and a question to a map.

`cams` are the three questions of the lecture, `forward_pass` is Grad-CAM's two equations, and the
rest serves them: which layer (`layers`), what is passed in (`inputs`), the part of the network after
the layer (`head`, `closed_form`), and maps at the size of the image (`maps`).
"""
