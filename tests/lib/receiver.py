"""A receiver of events: HTTPS on a port of its own, with a CA of its own. What it gets is kept; how it answers is up to the test."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import threading

import kluis


class Receiver:
    """`with Receiver(folder) as r:`; r.url, r.ca_file, r.secret_file for the configuration."""

    def __init__(self, folder, port=None, secret=b"what only the two of us know"):
        self.folder = folder
        self.secret = secret
        self.port = port or kluis.free_port()
        self.url = f"https://localhost:{self.port}/events"
        self.ca_file = os.path.join(folder, "receiver.pem")
        self.secret_file = os.path.join(folder, "receiver-secret")
        self.events, self.handshakes = [], []
        self.bad_signatures = 0
        self.agree, self.status = True, 200
        self.lock = threading.Lock()
        if not os.path.exists(self.ca_file):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "36500", "-subj",
                            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.ca_file + ".key", "-out", self.ca_file],
                           check=True, capture_output=True)
            with open(self.secret_file, "w", encoding="ascii") as f:
                f.write("whsec_" + base64.b64encode(secret).decode())

    def __enter__(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *unused):
                pass

            def do_OPTIONS(self):
                receiver.on_options(self)

            def do_POST(self):
                receiver.on_post(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, self.ca_file + ".key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.server.server_close()

    def on_options(self, request):
        with self.lock:
            self.handshakes.append(request.headers.get("WebHook-Request-Origin"))
        request.send_response(200 if self.agree else 405)
        if self.agree:
            request.send_header("WebHook-Allowed-Origin", request.headers["WebHook-Request-Origin"])
        request.send_header("Content-Length", "0")
        request.end_headers()

    def on_post(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        answer, status = b"", self.status
        parsed = json.loads(body)
        if request.headers.get("aeg-event-type") == "SubscriptionValidation":
            with self.lock:
                self.handshakes.append(parsed[0]["eventType"])
            status = 200 if self.agree else 404
            answer = json.dumps({"validationResponse": parsed[0]["data"]["validationCode"]}).encode()
        else:
            self.take(request.headers, body, parsed[0] if isinstance(parsed, list) else parsed, status)
        request.send_response(status)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def take(self, headers, body, event, status):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.new(self.secret, signed, hashlib.sha256).digest()).decode()
        with self.lock:
            if not hmac.compare_digest(wanted, headers.get("webhook-signature") or "") or headers["webhook-id"] != event["id"]:
                self.bad_signatures += 1
            self.events.append({**event, "status": status, "content_type": headers["Content-Type"]})

    def got(self, kind, name=None, status=200):
        """Events of this type (and about this object) that were answered so, in order of arrival."""
        with self.lock:
            return [e for e in self.events if (e.get("eventType") or e.get("type")).endswith("." + kind) and name in (None, e["subject"])
                    and e["status"] == status]

    def wait(self, kind, name=None, count=1):
        kluis.wait_until(lambda: len(self.got(kind, name)) >= count, f"{count} × {kind} of {name}: {self.events}")
        return self.got(kind, name)
