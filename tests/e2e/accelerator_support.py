"""What the tests of tune beside an accelerator share: an honest one, others that look and lie, and a place for each test."""
import os
import re
import subprocess
import tempfile
import unittest

import hostile_accelerator
from support import BIN, DEMO

ACCELERATOR = os.path.join(BIN, "carrel-accelerator")


class Accelerated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="carrel-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.accelerator, cls.honest = cls.hire("unix:" + os.path.join(cls.folder, "honest.sock"))

    @classmethod
    def hire(cls, address, *more):
        """An accelerator, and the address that it prints."""
        hired = subprocess.Popen([ACCELERATOR, "--model", DEMO, "--listen", address, "--threads", "1", *more],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.addClassCleanup(hired.communicate)
        cls.addClassCleanup(hired.terminate)
        return hired, re.search(r"listening on (.*)\n", hired.stdout.readline())[1]

    def setUp(self):
        self.place = tempfile.mkdtemp(dir=self.folder)
        self.output = os.path.join(self.place, "adapter")

    def hostile(self, look=None, **lies):
        """The address of one between the test and the honest one, which notes what it is asked."""
        address = "unix:" + os.path.join(self.place, "%d.sock" % len(os.listdir(self.place)))
        self.proxy = hostile_accelerator.Hostile(DEMO, address, self.honest, look, **lies)
        self.addCleanup(self.proxy.close)
        return address
