"""Images: the avatars data set, folders of a user's own images, files."""
