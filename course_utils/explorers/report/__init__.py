"""The parts of `python -m course_utils.report`: a whole folder of photos, asked and laid out.

networks: whose photos are read how. photos: a folder, in batches. asking: five questions a photo.
kept: what is done already, in a file. page: the page and the table.
"""
