"""Every settings file that the documents show is one that carrel reads."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

BIN = sys.argv.pop(1)
PAGES = ["README.md"] + [os.path.join("docs", name) for name in sorted(os.listdir("docs")) if name.endswith(".md")]


class Settings(unittest.TestCase):
    def test_settings_of_the_pages_are_read(self):
        found = 0
        for page in PAGES:
            with open(page) as file:
                text = file.read()
            for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.S | re.M):
                found += 1
                with self.subTest(page=page, block=block), tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
                    settings.write(block)
                    settings.flush()
                    result = subprocess.run([os.path.join(BIN, "carrel"), "inspect", settings.name], capture_output=True, text=True)
                    self.assertEqual(result.returncode, 0, result.stderr)
                    self.assertIn("settings", result.stdout)
        self.assertGreaterEqual(found, 4)

    def test_keys_of_the_cookbook_are_keys(self):
        """The right column of its tables, and the left one where that says "and the same name"."""
        with open("docs/CONFIG.md") as file:
            keys = set(re.findall(r"^\| `([\w.]+)` \|", file.read(), re.M))
        with open("docs/COOKBOOK.md") as file:
            rows = re.findall(r"^\| (.*) \| (.*) \|$", file.read(), re.M)
        sections = {key.split(".")[0] for key in keys if "." in key}
        named = set()
        for theirs, ours in rows:
            named.update(re.findall(r"`((?:%s)\.\w+)" % "|".join(sections), ours))
            section = re.search(r"`(\w+\.)` and the same name", ours)
            if section:
                named.update(section[1] + name for name in re.findall(r"`([a-z]\w+)`", re.sub(r"\(.*?\)", "", theirs)))
        self.assertGreaterEqual(len(named), 30)
        self.assertEqual(named - keys, set())

    def test_links_between_pages_lead_somewhere(self):
        for page in PAGES + ["CONTRIBUTING.md", "SECURITY.md"]:
            with open(page) as file:
                text = file.read()
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
                self.assertTrue(os.path.exists(os.path.join(os.path.dirname(page), target)), "%s: %s" % (page, target))


if __name__ == "__main__":
    unittest.main(verbosity=2)
