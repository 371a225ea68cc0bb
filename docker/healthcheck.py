"""Whether the server in this container is well: 0 if `GET /health` is answered with 200, else 1.

The image has no curl. http.client goes straight there: a proxy that is set for fetching models
doesn't know this server.
"""

import http.client
import sys

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8765

connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)
try:
    connection.request("GET", "/health")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer on port {PORT}: {error}")
sys.exit(0 if status == 200 else f"GET /health was answered with {status}")
