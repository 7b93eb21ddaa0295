"""What the published `lakefs-sdk` offers, read out of the package itself: its operations and what each may answer."""

import inspect
import re
from dataclasses import dataclass

import lakefs_sdk.api

# Success without a body, of which the SDK says nothing (API-4.28); the others are 204.
BARE = {
    "add_group_membership": 201,
    "attach_policy_to_group": 201,
    "attach_policy_to_user": 201,
    "create_user_external_principal": 201,
    "head_object": 200,
    "restore_refs": 200,
}


@dataclass(frozen=True)
class Operation:
    """`answers`: status -> model that the SDK reads the body with ("" for none). Operations without an answer that
    has a body list no status at all."""

    name: str
    api: str
    method: str
    path: str
    answers: dict
    parameters: tuple

    @property
    def success(self):
        return next((status for status in self.answers if status < 300), BARE.get(self.name, 204))

    @property
    def failures(self):
        """What the SDK documents; where it documents nothing, what area 1 says of its kind."""
        if self.answers:
            return sorted(status for status in self.answers if status != self.success)
        named = {"repository", "user_id", "group_id", "policy_id"} & set(self.parameters)
        return [400, 401, 404] if named else []


def operations():
    found = {}
    for module in vars(lakefs_sdk.api).values():
        if not inspect.ismodule(module):
            continue
        for name, api in vars(module).items():
            if not (name.endswith("Api") and inspect.isclass(api)):
                continue
            for method, function in vars(api).items():
                if not method.endswith("_with_http_info"):
                    continue
                source = inspect.getsource(function)
                operation = method.removesuffix("_with_http_info")
                answers = re.findall(r"'(\d+)': (?:\"([^\"]+)\"|None)", source.split("_response_types_map")[1])
                path, verb = re.search(r"call_api\(\s*'([^']+)', '(\w+)'", source).groups()
                parameters = [p for p in inspect.signature(getattr(api, operation)).parameters if p != "kwargs"]
                attribute = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
                statuses = {int(status): model for status, model in answers}
                found[operation] = Operation(operation, attribute, verb, path, statuses, tuple(parameters[1:]))
    return dict(sorted(found.items()))
