# For gunicorn: which process answers.
import os


def application(environ, start_response):
    body = b"hello from process %d\n" % os.getpid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
