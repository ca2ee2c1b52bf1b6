"""The bundles that come with the package, as data; each is a folder or an archive with its own licence."""
