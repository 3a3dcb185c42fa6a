# SPDX-License-Identifier: Apache-2.0
"""What a playbook run found, one JSON object a line, bounded, without the content of files.

Needs ansible-core only. Written to a temporary folder by Trueup's ansible plane and chosen with
ANSIBLE_CALLBACK_PLUGINS and ANSIBLE_STDOUT_CALLBACK. The reader is `ansible/report.rs`.
"""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: trueup_callback
type: stdout
short_description: bounded JSON lines for Trueup
description:
  - One line for each result that matters (changed, failed, unreachable, skipped by check mode), one with the totals.
"""

MAX_RESULTS = 2000
MAX_PATHS = 10
MAX_TEXT = 300


def text(value):
    return str(value)[:MAX_TEXT]


def hidden(result):
    return bool(result.get("_ansible_no_log")) or "censored" in result


def paths(result):
    """Which things differ; never their content."""
    if hidden(result):
        return []
    found = []

    def add(value):
        if isinstance(value, str) and value and len(found) < MAX_PATHS:
            value = text(value.split(" (content)")[0].split(" (file attributes)")[0])
            if value not in found:
                found.append(value)

    for item in result.get("results") or []:
        if isinstance(item, dict) and item.get("changed"):
            for path in paths(item):
                add(path)
    diffs = result.get("diff") or []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        if isinstance(diff, dict):
            before = diff.get("before")
            add(diff.get("after_header") or diff.get("before_header"))
            add(before.get("path") if isinstance(before, dict) else None)
    if not found:
        add(result.get("dest") or result.get("path"))
    return found


# Tasks that do nothing in check mode; tells them from skipped ones where no_log hides the reason.
UNCHECKABLE = {"command", "shell", "raw", "script", "expect"}


def reasoned(result):
    """Skipped by a condition or an empty loop, so that nothing was to be done."""
    return any(key in result for key in ("skip_reason", "skipped_reason", "false_condition"))


def unverified(result, action, skipped):
    """Skipped because it cannot run in check mode. `skipped`: Ansible takes the flag out before it tells us."""
    if hidden(result):
        return skipped and str(action).rsplit(".", 1)[-1] in UNCHECKABLE
    items = [item for item in result.get("results") or [] if isinstance(item, dict)]
    if items:
        return any(unverified(item, action, bool(item.get("skipped"))) for item in items)
    return skipped and not reasoned(result)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "trueup_callback"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.count = 0

    def line(self, event, **fields):
        self._display.display(json.dumps(dict(fields, trueup=1, event=event), sort_keys=True))

    def result(self, result, status):
        self.count += 1
        if self.count > MAX_RESULTS:
            return
        outcome = result._result
        fields = {"host": text(result._host.get_name()), "task": text(result._task.get_name()), "status": status}
        if status == "changed":
            fields["paths"] = paths(outcome)
        elif status in ("failed", "unreachable") and not hidden(outcome):
            fields["msg"] = text(outcome.get("msg", ""))
        self.line("result", **fields)

    def v2_runner_on_ok(self, result):
        if result._result.get("changed"):
            self.result(result, "changed")
        elif unverified(result._result, result._task.action, False):
            self.result(result, "unverified")

    def v2_runner_on_skipped(self, result):
        if unverified(result._result, result._task.action, True):
            self.result(result, "unverified")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self.result(result, "failed")

    def v2_runner_on_unreachable(self, result):
        self.result(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        hosts = {text(host): stats.summarize(host) for host in sorted(stats.processed)}
        self.line("stats", hosts=hosts, cut=self.count > MAX_RESULTS)
