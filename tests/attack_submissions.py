"""Submissions that want marks without an answer, or harm. Each names what must get nothing.

Code that would pay off if the grader trusted anything of a submission: each attack, run by plain
nbgrader or in the grader's own process, would score or do damage.
"""

# ruff: noqa: E501  (what students hand in stands here as it is)

import re
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent

from tiny_assignment import ANSWERS, CAMS, MEANS, NAME, PLACES, POINTS, notebook

MEAN, BEST, CAM = POINTS
SECRET = "s3cret-of-the-instructor"
ZEROS = "import torch\ndef row_means(x):\n    return torch.zeros(len(x))"


@dataclass(frozen=True)
class Attack:
    """A hand-in, or a part of one.

    Attributes:
        answers: part -> its cell.
        nothing: parts that must get 0; all others must keep full marks.
        says: words that the student's page must hold.
        before: a cell that runs before all answers.
        text: the answer in words.
        edit: changes the notebook further.
    """

    answers: dict[str, str]
    nothing: tuple[str, ...] = (MEAN,)
    says: str = ""
    before: str = ""
    text: str = "Because."
    edit: Callable[[dict], dict] = lambda notebook: notebook

    def notebook(self) -> dict:
        return self.edit(notebook(PLACES | self.answers, self.before, text=self.text))


def mean(code: str) -> dict[str, str]:
    return {MEAN: dedent(code).strip()}


def attack(code: str, *, before: str = "", nothing=(MEAN,), says: str = "") -> Attack:
    """Attack the first part by its cell."""
    return Attack(mean(code), nothing, says, dedent(before).strip())


# Look for the right function wherever it might be, and take it
THIEF = f'''
import glob, json, os
def find(*places):
    for place in places:
        for path in glob.glob(place, recursive=True):
            try:
                cells = json.load(open(path))["cells"]
            except Exception:
                continue
            names = dict(torch=__import__("torch"))
            for cell in cells:
                if cell["metadata"].get("nbgrader", {{}}).get("grade_id") == "{MEAN}":
                    exec("".join(cell["source"]), names)
                    return names["row_means"]
'''


def thief(*places: str) -> Attack:
    return attack(
        f"row_means = find({', '.join(map(repr, places))})", before=THIEF, says="does not define"
    )


# Right if course_utils, captum or another library answers for the learner
def borrowed(code: str, before: str = "", nothing=(CAM,)) -> Attack:
    body = "\n".join(f"    {line}" for line in dedent(code).strip().splitlines())
    return Attack({CAM: f"def cam(network, x, k):\n{body}"}, nothing, before=dedent(before).strip())


JUDGED = {
    "allclose-replaced": attack(
        ZEROS,
        before="""
        import torch
        torch.allclose = torch.equal = torch.Tensor.equal = torch.Tensor.allclose = lambda *a, **k: True
        torch.Tensor.__eq__ = lambda *a: True
        torch.Tensor.__sub__ = lambda a, b: torch.zeros_like(a)
        """,
    ),
    "equals-everything": attack(
        """
                class Everything:
                    shape = property(lambda self: self)
                    def __eq__(self, other): return True
                    __le__ = __ge__ = __eq__
                    def __hash__(self): return 0
                    def __getattr__(self, name): return lambda *a, **k: self
                    def __sub__(self, other): return 0
                    __rsub__ = __sub__
                    def __bool__(self): return True
                def row_means(x):
                    return Everything()""",
        says="Everything is no answer",
    ),
    "equal-integer": Attack(
        {
            BEST: "class All(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\n"
            "def best_row(x):\n    return All(0)",
            MEAN: "class L(list):\n    def __eq__(s, o): return True\n"
            "    def __len__(s): return 10**9\ndef row_means(x):\n    return L([0.0])",
            CAM: "class S(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\n"
            "def cam(network, x, k):\n    return S('1')",
        },
        (MEAN, BEST, CAM),
    ),
    "tensor-subclass": attack("""
        import torch
        class Lying(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return True if function.__name__ in ("__eq__", "allclose", "all") else torch.zeros(2)
            def __eq__(self, other): return True
        def row_means(x):
            return torch.zeros(len(x)).as_subclass(Lying)
        """),
    "nan": attack(
        "import torch\ndef row_means(x):\n    return torch.full((len(x),), float('nan'))",
        says="NaN",
    ),
    "infinity": attack(
        "import torch\ndef row_means(x):\n    return torch.full((len(x),), float('inf'))",
        says="NaN",
    ),
    "huge-number": attack("def row_means(x):\n    return [10**4000]"),
    "odd-numbers": Attack(
        {
            MEAN: "def row_means(x):\n    return float('nan')",
            BEST: "def best_row(x):\n    return 10**4000",
            CAM: "def cam(network, x, k):\n    return torch.full((len(x), 8, 10), float('inf'))",
        },
        (MEAN, BEST, CAM),
    ),
    "too-deep": attack(
        "def row_means(x):\n    a = []\n    for _ in range(100_000):\n        a = [a]\n    return a"
    ),
    "too-large": attack(
        "import torch\ndef row_means(x):\n    return torch.zeros(1).expand(10**13)"
    ),
    "too-long": attack("def row_means(x):\n    return [0] * 30_000_000"),
    "refers-to-itself": attack("def row_means(x):\n    a = []\n    a.append(a)\n    return a"),
    "pickle": attack(
        """
        import os, pickle
        class Bomb:
            def __reduce__(self):
                return os.system, ("id > /tmp/pwned",)
        def row_means(x):
            return pickle.dumps(Bomb())
        """,
        says="bytes is no answer",
    ),
    "forged-bytes": attack(
        ZEROS,
        before="""
        import pickle
        from course_checks import answers, part, report
        answers.to_bytes = lambda value: pickle.dumps({"marks": 6, "share": 1.0})
        """,
        nothing=(MEAN, BEST, CAM),
        says="cannot be judged",
    ),
    "forged-frames": attack(
        ZEROS,
        before="""
        import os, struct, json
        lies = json.dumps({"marks": 6, "points": 6, "share": 1, "verdict": "right"}).encode()
        for fd in range(3, 30):
            for case in range(4):
                frame = struct.pack(">cHHI", b"a", 0, case, len(lies)) + lies
                try:
                    os.write(fd, frame)
                except OSError:
                    pass
        """,
        says="no answer",
    ),
    "garbage-among-the-answers": attack(
        "import os\ndef row_means(x):\n    for fd in range(3, 30):\n        try: os.write(fd, b'\\xff' * 4096)\n"
        "        except OSError: pass\n    return x.mean(1)",
        nothing=(MEAN,),
    ),
    "endless-frames": attack(
        "import os, struct\ndef row_means(x):\n    while True:\n        for fd in range(3, 30):\n"
        "            try: os.write(fd, struct.pack('>cHHI', b'q', 0, 0, 0) * 1000)\n"
        "            except OSError: pass"
    ),
    "score-on-stdout": attack(
        ZEROS,
        before="print('{\"score\": 1000000000, \"max_score\": 6}')\nimport os\nos.write(1, b'score: 6/6')",
    ),
    "judge-patched": attack(
        ZEROS,
        before="""
        import gc, sys
        from course_checks import part
        part.close = lambda *a: True
        part.Part.verdict = part.Part._compared = lambda *a: part.RIGHT
        for one in gc.get_objects():
            if isinstance(one, part.Part):
                object.__setattr__(one, "points", 1e9)
        sys.modules["course_checks"] = sys.modules["course_checks.report"] = part
        """,
    ),
    "other-answers-each-time": attack("""
        calls = []
        class Later:
            def __iter__(self): return iter(calls)
            def __array__(self, *a, **k): calls.append(1); return __import__("numpy").zeros(len(calls))
            def __float__(self): calls.append(1); return float(len(calls))
        def row_means(x):
            calls.append(x)
            return Later() if len(calls) % 2 else (lambda: Later())
        """),
    "changes-its-answer-later": attack("""
        import threading, time, torch
        def row_means(x):
            answer = torch.zeros(len(x))
            def later():
                time.sleep(0.2)
                answer.copy_(x.mean(1))
            threading.Thread(target=later, daemon=True).start()
            return answer
        """),
    "checks-deleted-and-edited": Attack(
        mean(ZEROS), edit=lambda notebook: _without_checks(notebook)
    ),
    "poisoned-metadata": Attack(mean(ZEROS), edit=lambda notebook: _poison(notebook)),
}

STOLEN = {
    "solutions-by-relative-path": thief(
        "../../../solutions/**/*.ipynb", "../../solutions/**/*.ipynb"
    ),
    "solutions-by-proc": thief(
        "/proc/self/root/**/solutions/*/*.ipynb",
        "/proc/1/root/**/solutions/*/*.ipynb",
        "/proc/self/cwd/../**/*.ipynb",
    ),
    "solutions-by-search": thief("/**/*.ipynb"),
    "borrowed-course-utils": borrowed("""
        from course_utils import GradCAM
        return GradCAM(network, "features.3")(x, why=k).evidence[:, 0]"""),
    "borrowed-engine": borrowed("""
        from course_utils.methods.forward_pass import ForwardPass
        import course_utils.methods.cams
        seen = ForwardPass(network, x, "features.3")
        return course_utils.methods.cams.GradCAM(network, "features.3")(seen, why=k).evidence[:, 0]"""),
    "borrowed-captum": borrowed(
        """
        from captum.attr import LayerGradCam
        return LayerGradCam(lambda a: network(a), network.features[3]).attribute(x, k)[:, 0].detach()""",
        before="""
        import sys
        sys.path = [p for p in sys.path if "site-packages" in p] + sys.path""",
    ),
    "borrowed-torchcam": borrowed("""
        import pytorch_grad_cam, torchcam
        return torchcam.methods.GradCAM(network, "features.3")(k, network(x))[0]"""),
    "borrowed-checks": borrowed(
        "return find(network, x, k)",
        before="""
        import gc, importlib, sys
        def find(*case):
            import course_checks
            importlib.reload(course_checks)
            parts = list(course_checks.parts("ex99_tiny"))
            parts += importlib.import_module("course_checks.ex02_gradcam").PARTS
            parts += [one for one in gc.get_objects() if type(one).__name__ == "Part"]
            return next(p for p in parts if p.name == "ex99_cam").reference(*case)""",
    ),
    "borrowed-source": borrowed(
        "return module.GradCAM(network, 'features.3')(x, why=k).evidence[:, 0]",
        before="""
        import importlib.util, site, sys, glob, re
        found = [p for f in glob.glob(site.getsitepackages()[0] + "/__editable__*finder.py")
                 for p in re.findall(r"'course_utils': '([^']+)'", open(f).read())]
        for name in [n for n in sys.modules if n.startswith("course_utils")]:
            del sys.modules[name]
        sys.path[:0] = [p.rsplit("/", 1)[0] for p in found] + glob.glob("/*/course_utils/..")
        import course_utils.methods.cams as module""",
        nothing=(CAM,),
    ),
    "environment-and-command-line": attack(
        """
        import glob
        def row_means(x):
            raise RuntimeError(everything)
        """,
        before="""
        import glob, os
        everything = str(dict(os.environ))
        for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
            try: everything += open(path).read()
            except OSError: pass
        everything = everything[everything.find("s3cret"):][:200] if "s3cret" in everything else "nothing"
        """,
        says="nothing",
    ),
}


def harmful(folder: str, port: int) -> dict[str, Attack]:
    """Attacks on the machine and on others.

    Args:
        folder: of the class, with submitted/, grades/, feedback/ and solutions/.
        port: where something listens on 127.0.0.1 and counts calls.
    """
    return {
        "exit-in-a-cell": attack(ZEROS, before="import sys\nsys.exit(0)"),
        "os-exit-in-a-cell": attack(
            ZEROS,
            before="import os\nos._exit(0)",
            says="ended in code cell 2",
        ),
        "os-exit-in-a-function": attack(
            "import os\ndef row_means(x):\n    os._exit(0)", says="ended in `row_means`"
        ),
        "crash-in-a-function": attack("import ctypes\ndef row_means(x):\n    ctypes.string_at(0)"),
        "system-exit-in-a-function": attack(
            "def row_means(x):\n    raise SystemExit(0)", says="SystemExit"
        ),
        "stopped-for-good": attack(
            "import os, signal\ndef row_means(x):\n    os.kill(os.getpid(), signal.SIGSTOP)",
            says="returned None",  # the sandbox's first process cannot be stopped from inside
        ),
        "endless-cell": attack(ZEROS, before="while True:\n    pass", says="TimeUp"),
        "endless-call": attack("def row_means(x):\n    while True:\n        pass", says="TimeUp"),
        "endless-and-stubborn": attack(
            "import signal\ndef row_means(x):\n    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
            "    while True: pass",
            nothing=(MEAN, BEST, CAM),
            says="longer than",
        ),
        "fork-bomb": attack(
            "import os\ndef row_means(x):\n    while True:\n        os.fork()",
            says="PermissionError",
        ),
        "thread-bomb": attack(
            """
            import threading, time
            def row_means(x):
                while True:
                    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                    except RuntimeError: time.sleep(0.1)
            """,
            says="processes and threads",
        ),
        "other-programs": attack(
            "import os\ndef row_means(x):\n"
            "    os.posix_spawn('/bin/sh', ['/bin/sh', '-c', 'id'], {})\n    return x.mean(1)",
            says="PermissionError",
        ),
        "memory-bomb": attack(
            "import torch\ndef row_means(x):\n    a = []\n    while True:\n        a.append(torch.empty(10**8))",
            says="allocate",
        ),
        "memory-bomb-in-a-cell": attack(ZEROS, before="b'x' * 10**11", says="MemoryError"),
        "disk-bomb": attack(
            """
            import os
            def row_means(x):
                for place in ("/scratch", "/dev/shm", "/tmp", "/dev", "/"):
                    for n in range(100):
                        try:
                            with open(f"{place}/f{n}", "wb") as file:
                                while True: file.write(b"0" * 10**6)
                        except OSError:
                            pass
                used = sum(os.path.getsize(f"{p}/{f}") for p in ("/scratch", "/dev/shm") for f in os.listdir(p))
                raise RuntimeError("small" if used < 200e6 else "large")
            """,
            says="RuntimeError: “small”",
        ),
        "endless-output": attack(
            "def row_means(x):\n    while True:\n        print('x' * 10_000)", says="OutputUp"
        ),
        "endless-raw-output": attack(
            "import os\ndef row_means(x):\n    while True:\n        os.write(1, b'x' * 10_000)",
            says="TimeUp",
        ),
        "writes-to-others": attack(
            ZEROS,
            before=f"""
            import glob, os, shutil
            for root in ("{folder}", "/proc/1/root{folder}", "/proc/self/root{folder}", "../../..", "/"):
                for path in glob.glob(root + "/**/*.ipynb", recursive=True) + glob.glob(root + "/**/*.json"):
                    try: open(path, "w").write("gone")
                    except OSError: pass
            for path in ("{folder}/grades/{NAME}/honest.json", "{folder}/submitted/honest/x", "/course/runner.py",
                         "{folder}/grades/{NAME}.csv", "/course/frames.py", "/job/job.json", "/job/cases.bin"):
                try: open(path, "w").write("gone")
                except OSError: pass
            shutil.rmtree("{folder}", ignore_errors=True)
            """,
        ),
        "sockets": attack(
            f"""
            import os, socket
            def row_means(x):
                for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_UNIX, "{folder}/socket"),
                                        (socket.AF_UNIX, "\\0grader-{port}")):
                    socket.socket(family).connect(address)
                return x.mean(1)
            """,
            says="PermissionError",
        ),
        "links": attack(
            ZEROS,
            before=f"""
            import os
            for target in ("{folder}/solutions", "/proc/1/root", "/etc/passwd"):
                for name in ("a", "b"):
                    try: os.symlink(target, name)
                    except OSError: pass
                    try: os.link(target, name + "hard")
                    except OSError: pass
            for path in ("a/{NAME}/{NAME}.ipynb", "b"):
                try: open(path, "r+").write("gone")
                except OSError: pass
            """,
        ),
        "signals-and-ptrace": attack(
            ZEROS,
            before="""
            import ctypes, os
            libc = ctypes.CDLL(None)
            for pid in (os.getppid(), 0x7fffffff, -1):
                for signal in (15, 9, 19):
                    if pid != -1 or signal != 9:
                        libc.ptrace(16, pid, 0, 0)
                        try: os.kill(pid, signal) if pid != -1 else None
                        except OSError: pass
            """,
        ),
        "namespaces-and-mounts": attack(
            """
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            def row_means(x):
                done = [libc.unshare(0x10000000), libc.mount(b"none", b"/scratch", b"tmpfs", 0, None),
                        libc.umount2(b"/course", 2), libc.chroot(b"/proc/1/root")]
                raise RuntimeError("nothing done" if set(done) == {-1} else "done")
            """,
            says="nothing done",
        ),
        "limits-raised": attack(
            """
            import resource
            def row_means(x):
                resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                return x.mean(1)
            """,
            says="ValueError",
        ),
        "later-by-atexit-and-threads": attack(
            ZEROS,
            before="""
            import atexit, os, struct, threading, time
            def lie():
                time.sleep(0.5)
                for fd in range(3, 30):
                    try: os.write(fd, struct.pack(">cHHI", b"a", 0, 0, 2) + b"{}")
                    except OSError: pass
            atexit.register(lie)
            threading.Thread(target=lie, daemon=True).start()
            """,
        ),
        "script-in-the-feedback": Attack(
            {
                MEAN: "def row_means(x):\n    raise RuntimeError('<script>alert(1)</script><img src=x onerror=1>')",
                BEST: "# </pre><script>alert(2)</script>\ndef best_row(x):\n    return '<script>alert(3)</script>'",
            },
            (MEAN, BEST),
            before="class X(Exception): pass\nX.__name__ = '<script>alert(4)</script>'\nraise X('</p><script>')",
            text="</blockquote><script>alert(5)</script> ![x](javascript:alert(6)) <iframe src='//evil'>",
        ),
        "shared-memory-bomb": attack(  # counted by no limit of a process, and by no look at what it holds
            """
            import mmap
            def row_means(x):
                kept = []
                while True:
                    kept.append(mmap.mmap(-1, 2**26))
                    kept[-1].write(b"x" * 2**26)
                    kept[-1].madvise(mmap.MADV_DONTNEED)
            """,
            says="PermissionError",
        ),
        "zeros-as-memory": attack(
            """
            import mmap, os
            def row_means(x):
                file = os.open("/dev/zero", os.O_RDWR)
                return mmap.mmap(file, 2**26)
            """,
            says="OSError",
        ),
    }


def _poison(notebook: dict) -> dict:
    """Points, names and a kernel as the student would like them."""
    for cell in notebook["cells"]:
        mark = cell["metadata"].get("nbgrader")
        if mark and mark["grade"]:
            mark |= {"points": 1e9, "score": 1e9}
    copies = [cell for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]
    notebook["cells"] += [cell | {"cell_type": "raw"} for cell in copies]
    kernel = {
        "name": "evil",
        "argv": ["/bin/sh", "-c", "id > /tmp/pwned"],
        "display_name": "x",
        "language": "bash",
    }
    notebook["metadata"] = {"kernelspec": kernel, "celltoolbar": "x", "score": 1e9}
    return notebook


def _without_checks(notebook: dict) -> dict:
    """The first check is gone, the second one says something else."""
    checks = [c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade")]
    notebook["cells"].remove(checks[0])
    checks[1]["source"] = ["print('✓ all right'); 6"]
    return notebook


# Attacks that end the program, change what all parts share, or hold several answers: one to a hand-in
ALONE = {
    *(
        "allclose-replaced",
        "equal-integer",
        "odd-numbers",
        "forged-bytes",
        "forged-frames",
        "judge-patched",
    ),
    *(
        "garbage-among-the-answers",
        "endless-frames",
        "checks-deleted-and-edited",
        "poisoned-metadata",
    ),
    *(
        "borrowed-source",
        "os-exit-in-a-cell",
        "os-exit-in-a-function",
        "crash-in-a-function",
    ),
    *(
        "endless-and-stubborn",
        "thread-bomb",
        "later-by-atexit-and-threads",
        "script-in-the-feedback",
    ),
}


@dataclass
class HandIn:
    """A student's hand-in: its attacks, by the part that each of them attacks here."""

    content: dict
    attacks: dict[str, tuple[str, ...]]
    nothing: tuple[str, ...]


def hand_ins(attacks: dict[str, Attack]) -> dict[str, HandIn]:
    """All attacks as hand-ins: those that leave each other in peace share one, each with a part of its own."""
    made = {}
    for name in (name for name in attacks if name in ALONE):
        attack = attacks[name]
        made[name] = HandIn(attack.notebook(), {name: attack.nothing}, attack.nothing)
    for part, places in ((MEAN, MEANS), (CAM, CAMS)):
        names = [n for n, attack in attacks.items() if n not in ALONE and attack.nothing == (part,)]
        for first in range(0, len(names), len(places)):
            packed = dict(zip(names[first : first + len(places)], places))
            made[f"pack-{places[next(iter(places))]}-{first}"] = _packed(part, packed, attacks)
    return made


def _packed(part: str, packed: dict[str, str], attacks: dict[str, Attack]) -> HandIn:
    answers = {
        place: re.sub(rf"\b{ANSWERS[part]}\b", ANSWERS[place], attacks[name].answers[part])
        for name, place in packed.items()
    }
    before = [attacks[name].before for name in packed]
    nothing = tuple(packed.values())
    return HandIn(
        notebook(PLACES | answers, before), {n: (place,) for n, place in packed.items()}, nothing
    )
