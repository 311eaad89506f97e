"""Create the buckets that arguments name, unless they exist."""

import sys

from pyarrow.fs import FileType, S3FileSystem

server = S3FileSystem(endpoint_override="bucket:8333", scheme="http", allow_bucket_creation=True)
for name in sys.argv[1:]:
    if server.get_file_info(name).type is FileType.NotFound:
        server.create_dir(name)
