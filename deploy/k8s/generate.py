"""Owns the command that writes what is generated here: Prometheus's rules as a resource, and the stores' accounts.

`python -m deploy.k8s.generate`, from the checkout's root.
"""

import sys
from pathlib import Path
from typing import Final

import yaml
from chatctl.commands.accounts import acl_of, grants_of, read_passwords

ROOT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ROOT / "deploy" / "k8s" / "components"
RULES: Final = ROOT / "deploy" / "observability" / "prometheus" / "rules"
HEAD: Final = "# Written by `python -m deploy.k8s.generate`; a test keeps it in step.\n"
SQL_HEAD: Final = HEAD.replace("#", "--")
WIDTH: Final = 1_000
"""Long lines stay whole: a folded expression is hard to find."""


class Blocks(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Writes text of several lines as such."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write one string."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Blocks.add_representer(str, Blocks.represent_text)


def outputs() -> dict[Path, str]:
    """Give every generated file and what it should hold."""
    redis, mysql = COMPONENTS / "dev-redis", COMPONENTS / "dev-mysql"
    return {
        COMPONENTS / "monitoring" / "rules.yaml": HEAD + rules(),
        # An ACL file has no comments.
        redis / "users.acl": acl_of(read_passwords(redis / "passwords.env"), prefix="chat"),
        mysql / "users.sql": SQL_HEAD + grants_of(read_passwords(mysql / "passwords.env"), database="chat", tls=False),
    }


def rules() -> str:
    """Write all recording and alert rules as one resource of the Prometheus Operator."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "chat", "labels": {"app.kubernetes.io/part-of": "chat"}},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }
    return str(yaml.dump(resource, Dumper=Blocks, sort_keys=False, allow_unicode=True, width=WIDTH))


def main() -> None:
    """Write them, and name those that changed."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
