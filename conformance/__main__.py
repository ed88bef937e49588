"""conformance/run --services FILE --endpoints FILE [--only redis,minio] [--match TEXT] [-o json]"""

import argparse
import os
import sys
from pathlib import Path

# Before grpc is loaded: its own lines are not ours.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from conformance import contract, names, published, report
from conformance.cases import load
from conformance.links import Links
from conformance.plain import SERVICES
from conformance.runner import Tested, explained, test


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance/run", description="Every method, checked on the engines.")
    parser.add_argument("--services", type=Path, required=True, help="services' addresses, as .isa/services.json")
    parser.add_argument("--endpoints", type=Path, required=True, help="engines' endpoints, as .isa/endpoints.json")
    parser.add_argument("--only", default="", help="services by name, joined by commas")
    parser.add_argument("--match", default="", help="only cases whose name has this; then methods may lack cases")
    parser.add_argument(
        "--default-tenant",
        default=names.DEFAULT_TENANT,
        help="whose a call is that names nobody: where tokens are required, the token's own tenant, as user:NAME",
    )
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text")
    options = parser.parse_args()

    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - set(SERVICES):
        parser.error(f"--only: no service {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
    links = Links.read(options.services, options.endpoints, options.default_tenant)
    published.capture_logs()
    every = load()

    results: list[Tested] = []
    skipped: dict[str, str] = {}
    broken = False
    # Those that have cases first, then what else the contract has.
    for service in only or dict.fromkeys([*SERVICES, *contract.services()]):
        if service not in SERVICES:
            skipped[service] = "no case of it is written"
            continue
        if service not in links.services:
            skipped[service] = f"{options.services} has no such service"
            broken |= service in only
            continue
        cases = [case for case in every if case.service == service and options.match in case.name]
        try:
            results.append(test(service, cases, links))
        except Exception as error:
            skipped[service] = f"cannot be reached: {explained(error)}"
            broken = True
    print(report.as_json(results, skipped) if options.output == "json" else report.text(results, skipped))
    if options.match:
        broken |= any(o.reason for tested in results for o in tested.outcomes)
    else:
        broken |= report.failed(results)
    return int(broken or not any(tested.outcomes for tested in results))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of hanging cases, and the published client's pool, would hold the exit up.
    os._exit(code)
