"""What a browser does with links, forms and cookies, and with the headers that tell where a request comes from."""

import html.parser
import json
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit


class _Form(html.parser.HTMLParser):
    """The first form of a page."""

    def __init__(self):
        super().__init__()
        self.action, self.method, self.fields = None, "get", {}

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.method = attributes["action"], attributes["method"]
        elif tag == "input":
            self.fields[attributes["name"]] = attributes["value"]


class Page:
    def __init__(self, url, response):
        self.url, self.status, self.headers = url, response.status, response.headers
        self.text = response.read().decode()


class Browser:
    """A browser with one cookie jar for one server. It follows redirects."""

    def __init__(self, server):
        self.server, self.cookies = server, {}

    def _send(self, method, url, body, headers):
        parts = urlsplit(url)
        assert (parts.scheme, parts.port) == (self.server.scheme, self.server.port), url
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = self.server.connection()
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
            page = Page(url, connection.getresponse())
        finally:
            connection.close()
        for line in page.headers.get_all("Set-Cookie") or []:
            for name, cookie in SimpleCookie(line).items():
                assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/"
                assert bool(cookie["secure"]) == (self.server.scheme == "https")
                self.cookies.pop(name, None)
                if cookie["max-age"] != "0":
                    self.cookies[name] = cookie.value
        if 300 <= page.status < 400:
            method = "GET" if page.status == 303 else method
            return self._send(method, urljoin(url, page.headers["Location"]), None, {"Sec-Fetch-Site": "same-origin"})
        return page

    def open(self, url):
        """Types an address."""
        return self._send("GET", urljoin(self.server.url, url), None, {"Sec-Fetch-Site": "none"})

    def press(self, page):
        """Presses the button of the page's form, if the page's policy lets the browser send it."""
        form = _Form()
        form.feed(page.text)
        assert "form-action 'self'" in page.headers["Content-Security-Policy"]
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": self.server.url,
            "Sec-Fetch-Site": "same-origin",
        }
        return self._send(form.method.upper(), urljoin(page.url, form.action), urlencode(form.fields), headers)

    def user(self):
        """Who the browser is signed in as, or None."""
        page = self.open("/api/v1/user")
        return (json.loads(page.text)["user"]["id"] or None) if page.status == 200 else None
