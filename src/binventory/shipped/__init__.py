"""The bundles that come with the package, as data; each is a folder with its own licence."""
