"""The methods: from an image, a network and a question to a map. What each file is about:

- the questions: `cams` are the three of the lecture, `forward_pass` is Grad-CAM's two equations;
  `keywords` answers who comes from another package; `taxonomy` holds the other methods
- what goes in: `inputs` (images), `classes` (names and numbers); `checks` refuses the rest
- one pass: `running` (the network is left as it was), `output` (which tensor is asked about),
  `head` (all after the target layer, on a graph of its own), `backward` (many questions at once),
  `unchanged` (no old activations with new weights), `tensors` (compared, drawn at random)
- shorter ways through the head: `closed_form` (a pooling and a matrix), `pooled_head` with
  `vector_steps` (a pooling first), `first_token` (vision transformers)
- which layer: `layers`, by what `watching` notes of one pass as `watched`; told by `roles` (kinds
  and names), `graph` (autograd's graph), `image_tokens` (which tokens are the image's); `ranking`
  puts the best first, `no_layer` says why there is none
- how its output lies on the image: `grids` (as N x C x h x w), `orientation` (mirrored, turned),
  by what `receptive_fields` measures, `field_of_view` (cropped, padded), `chance` (drawn at
  random); `memory` keeps what was measured
- what comes out: `scores` (logits, probabilities), `as_classes`, `maps` (at the image's size),
  `strength` (in words); `diagnosis` (why it failed)
"""
