"""Reads metrics with Prometheus's own parser, and prints them as JSON."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

with open(sys.argv[1], encoding="utf-8") as page:
    families = {
        family.name: {
            "type": family.type,
            "help": family.documentation,
            "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
        }
        for family in text_string_to_metric_families(page.read())
    }
json.dump(families, sys.stdout)
