"""The methods: from an image, a network and a question to a map.

`cams` are the three questions of the lecture, `forward_pass` is Grad-CAM's two equations, and the
rest serves them: which layer (`layers`), what is passed in (`inputs`, `classes`), what the output
says of classes (`scores`), the part of the network after the layer (`head`, with shorter ways in
`closed_form`, `pooled_head` and `first_token`), maps at the size of the image (`maps`), and how
strong they are (`strength`).
"""
