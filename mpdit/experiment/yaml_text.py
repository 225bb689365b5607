"""YAML text -> its value, or one line that says what is wrong and in which line."""

from functools import cache
from typing import Any

from ..system.errors import UserError
from .fields import shown


def load_yaml(text: str, source: str) -> Any:
    """The value of YAML text; `source` names it in messages."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{source}: {line}{error.problem or 'not valid YAML'}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise UserError(f"{source}: not valid YAML (nested too deeply)") from None


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """PyYAML's safe loader, except that a key given twice is an error instead of the last one winning.

        What is no value of its kind, such as the date 2001-99-99, is an error with a line number as well.
        """

        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                value = super().construct_object(node, deep)
                if isinstance(value, int):
                    str(value)  # fails for thousands of digits, which no message could show
                return value
            except (yaml.YAMLError, RecursionError):
                raise
            except Exception:  # PyYAML's constructors raise nearly anything
                kind = node.tag.rpartition(":")[2]
                problem = f"{shown(node.value)} is no valid {kind}; put it in quotes if it is text"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            first_lines: dict[str, int] = {}
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
                if str(key) in first_lines:
                    problem = f"key {key!r} appears twice, first in line {first_lines[str(key)]}"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                first_lines[str(key)] = line
            return super().construct_mapping(node, deep)

    return Loader
