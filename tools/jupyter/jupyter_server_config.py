"""Settings of the server of `make lab`.

**A notebook does not count as changed when it is opened.** JupyterLab writes what it learns of the
kernel (its name in full, Python's version) into a notebook as soon as that is opened, and marks it
as changed. In the repository these words are left out: they differ from machine to machine. So they
are put in where the server reads the file.

**What server and kernel say to each other is encrypted.** Where it is not, each kernel warns in the
terminal; and on a machine that several people share it should be.
"""

import zmq
from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

KERNEL = "python3"


class Notebooks(AsyncLargeFileManager):
    """Files as they are, but that notebooks name this environment's kernel as it names itself."""

    async def get(self, *args, **options):
        model = await super().get(*args, **options)
        if model["type"] == "notebook" and model["content"]:
            metadata = model["content"]["metadata"]
            if metadata.get("kernelspec", {}).get("name") == KERNEL:
                metadata |= about_the_kernel()
        return model


def about_the_kernel() -> dict:
    """What JupyterLab writes into a notebook's metadata when the kernel has started."""
    spec = KernelSpecManager().get_kernel_spec(KERNEL)
    name = {"name": KERNEL, "display_name": spec.display_name, "language": spec.language}
    return {"kernelspec": name, "language_info": dict(IPythonKernel.language_info)}


settings = get_config()  # noqa: F821 (Jupyter defines it)
settings.ServerApp.contents_manager_class = Notebooks
if zmq.has("curve"):  # else Jupyter would not start
    settings.KernelManager.transport_encryption = "auto"  # of kernels that can
