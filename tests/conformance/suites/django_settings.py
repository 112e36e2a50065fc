"""Settings for Django's own tests, and a runner that writes down the outcome of each."""

import os
import pathlib
import re
import unittest

from django.test.runner import DiscoverRunner

ADDRESS = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ["PGHOST"],
    "PORT": os.environ["PGPORT"],
    "USER": os.environ["PGUSER"],
    "PASSWORD": os.environ["PGPASSWORD"],
}
DATABASES = {
    "default": {**ADDRESS, "NAME": "django"},
    "other": {**ADDRESS, "NAME": "django_other"},
}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "django_settings.Runner"


class Result(unittest.TextTestResult):
    """Appends the outcome of each test as soon as it is known."""

    def note(self, test, outcome, text=""):
        out = pathlib.Path(os.environ["SUITE_OUT"])
        name = " ".join(test.id().split())
        with open(out / "outcomes", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{name}: {outcome}\n")
        if text:
            details = out / "details" / re.sub(r"[^\w.-]", "_", name)[:200]
            details.write_text(text, encoding="utf-8", errors="replace")

    def startTest(self, test):
        self.failed_subtests = []
        super().startTest(test)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.failed_subtests.append(self._exc_info_to_string(error, test))

    def stopTest(self, test):
        if self.failed_subtests:
            self.note(test, "fail", "\n".join(self.failed_subtests))
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "pass")

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "error", self._exc_info_to_string(error, test))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "fail", self._exc_info_to_string(error, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        # A part of a test may be skipped, and the test then goes on.
        if not hasattr(test, "test_case"):
            self.note(test, "skip")

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.note(test, "xfail")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "xpass")


class Runner(DiscoverRunner):
    """Django's runner with that result."""

    def get_resultclass(self):
        return Result
