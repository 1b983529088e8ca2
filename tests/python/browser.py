"""A small browser: cookies, redirects and forms, as much of them as the pages of scopegate need."""

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests


class Browser:
    """Follows redirects until a page, or until one leads to `stop_at`, which is not fetched."""

    def __init__(self, stop_at):
        self.session = requests.Session()
        self.stop_at = stop_at

    def open(self, url):
        return self._arrive(self.session.get(url, allow_redirects=False, timeout=10))

    def submit(self, form, button=None):
        """`button` is the (name, value) of the button that is pressed, if it has any."""
        assert button is None or button in form.buttons, f"no button {button} among {form.buttons}"
        fields = form.fields + ([button] if button else [])
        # What browsers add to a form of the page's own.
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(form.action))
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        return self._arrive(
            self.session.post(form.action, data=fields, headers=headers, allow_redirects=False, timeout=10)
        )

    def _arrive(self, response):
        for _ in range(10):
            if response.status_code not in (302, 303):  # 303 turns any POST into a GET; browsers do so with 302, as some profiles answer
                return Page(response.url, response.status_code, response.text)
            target = urljoin(response.url, response.headers["Location"])
            if target.partition("?")[0] == self.stop_at:
                return Page(target, response.status_code, "")
            response = self.session.get(target, allow_redirects=False, timeout=10)
        raise AssertionError(f"too many redirects, the last to {response.url}")


class Page:
    def __init__(self, url, status, text):
        self.url, self.status, self.text = url, status, text
        self.forms = _Forms(url).read(text)

    def form(self, path):
        """The form that is sent to `path`."""
        found = [form for form in self.forms if urlsplit(form.action).path == path]
        assert len(found) == 1, f"{len(found)} forms for {path} on {self.url} ({self.status}): {self.text}"
        return found[0]

    def has_form(self, path):
        return any(urlsplit(form.action).path == path for form in self.forms)


class Form:
    def __init__(self, action):
        self.action = action
        self.fields = []  # (name, value), as they would be sent
        self.buttons = []

    def values(self, name):
        return [value for key, value in self.fields if key == name]

    def fill(self, name, value):
        assert self.values(name), f"no field {name} among {self.fields}"
        self.fields = [(key, value if key == name else old) for key, old in self.fields]

    def untick(self, name, value):
        self.fields.remove((name, value))


class _Forms(HTMLParser):
    """Reads the forms of a page."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.forms = []
        self.inside = False

    def read(self, text):
        self.feed(text)
        self.close()
        return self.forms

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        name, value = attributes.get("name"), attributes.get("value") or ""
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, attributes["action"])))
            self.inside = True
        elif not self.inside or not name:
            return
        elif tag == "button":
            self.forms[-1].buttons.append((name, value))
        elif tag == "input" and (attributes.get("type") != "checkbox" or "checked" in attributes):
            self.forms[-1].fields.append((name, value))

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
