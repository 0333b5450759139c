"""A NATS client in a few lines of its text protocol: proof that jobs need no client of ours."""

import json
import socket
import time


class Nats:
    """One connection; requests one at a time."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()  # INFO
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"test","version":"1"}\r\n')
        self.inbox = "_INBOX.test%d" % time.time_ns()
        self.send(b"SUB %s.* 1\r\n" % self.inbox.encode())
        self.number = 0

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        self.number += 1
        return "%s.%d" % (self.inbox, self.number)

    def next_message(self, within):
        """Subject, headers (or nothing) and body of the next message."""
        self.socket.settimeout(within)
        while True:
            line = self.stream.readline()
            if not line:
                raise ConnectionError("the connection was closed")
            words = line.split()
            if words[:1] == [b"PING"]:
                self.send(b"PONG\r\n")
            elif words[:1] == [b"MSG"]:
                body = self.stream.read(int(words[-1]) + 2)[:-2]
                return words[1].decode(), b"", body
            elif words[:1] == [b"HMSG"]:
                head, total = int(words[-2]), int(words[-1])
                data = self.stream.read(total + 2)[:-2]
                return words[1].decode(), data[:head], data[head:]
            elif words[:1] == [b"-ERR"]:
                raise RuntimeError(line.decode())

    def request(self, subject, body, within=10):
        """The answer's body as JSON."""
        reply = self.reply()
        payload = json.dumps(body).encode()
        self.send(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload))
        deadline = time.monotonic() + within
        while True:
            got, headers, data = self.next_message(max(0.1, deadline - time.monotonic()))
            if got != reply:
                continue  # the late answer to an earlier request
            if headers.startswith(b"NATS/1.0 503"):
                raise ConnectionError("nobody answers %s" % subject)
            return json.loads(data)

    def insist(self, verb, body, within=60):
        """A call of the API, again until it is answered by something else than a problem of the moment."""
        deadline = time.monotonic() + within
        while True:
            try:
                answer = self.request("sm.api.default." + verb, body, within=3 + body.get("wait_ms", 0) / 1000)
                if answer.get("status") not in (503, 504):
                    assert "title" not in answer, (verb, body, answer)
                    return answer
            except (TimeoutError, ConnectionError) as error:
                answer = error
            assert time.monotonic() < deadline, "%s is not answered: %s" % (verb, answer)
            time.sleep(0.05)

    def publish_jobs(self, workflow, keys, value):
        """Publishes jobs as `nats pub` would, each with its message id; returns when JetStream has stored all."""
        payload = json.dumps(value).encode()
        waiting = {}
        for key in keys:
            reply = self.reply()
            headers = b"NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n" % key.encode()
            subject = b"sm.job.default." + workflow.encode()
            sizes = (len(headers), len(headers) + len(payload))
            self.send(b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject, reply.encode(), *sizes, headers, payload))
            waiting[reply] = key
            while len(waiting) > 500:
                self.stored(waiting)
        while waiting:
            self.stored(waiting)

    def stored(self, waiting):
        subject, _, body = self.next_message(20)
        key = waiting.pop(subject, None)
        answer = json.loads(body) if key else {}
        assert key is None or "seq" in answer, (key, answer)
