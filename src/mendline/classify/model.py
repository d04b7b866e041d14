"""Ask a language model, within bounds: whatever goes wrong is one typed answer, and never the incident's trouble.

Imports pydantic-ai only when a model is configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mendline.classify.prompt import NoAnswer, Prompt
from mendline.errors import ConfigError
from mendline.redaction import Redactor
from mendline.spending import Purse, Reservation

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, ToolReturnPart
    from pydantic_ai.models import Model as Client
    from pydantic_ai.models import ModelRequestParameters

    from mendline.config import Model as Settings

CHARACTERS_PER_TOKEN = 3  # an estimate on the high side, for what is reserved before the provider counts
CALLS_PER_STEP = 4
SEND_AGAIN_COUNT = 1  # a 429 or a 500 is tried once more by the provider's client, within the same seconds
OLLAMA = "http://localhost:11434/v1"
EXTRAS = {"openai": "openai", "ollama": "ollama", "anthropic": "anthropic"}


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What a model may call for: only reads. `run` gives text for the model, also where the arguments are wrong."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    run: Callable[[Mapping[str, Any]], str]


class LanguageModel:
    """One configured model. Every text is redacted before it leaves.

    Raises on construction: `ConfigError` when the provider is unknown or its client is not installed.
    """

    def __init__(self, settings: Settings, purse: Purse, redactor: Redactor) -> None:
        self.settings, self.purse, self.redactor = settings, purse, redactor
        _client(settings)

    def ask(self, incident_id: str, prompt: Prompt, tools: Sequence[Tool] = ()) -> str:
        """The text of the model's answer to one question; it may call for the tools before it answers.

        Raises: `NoAnswer` when it is away, slow, over a limit, or goes on calling for tools. Asking twice asks twice.
        """
        try:
            with asyncio.Runner() as runner:
                return runner.run(self._in_time(incident_id, prompt, tools))
        except NoAnswer:
            raise
        except TimeoutError as error:
            raise NoAnswer(f"it did not answer within {self.settings.max_seconds:g} s") from error
        # A provider's client is foreign code with errors of its own; none of them may stop an incident.
        except Exception as error:
            raise NoAnswer(_reason(error)) from error

    async def _in_time(self, incident_id: str, prompt: Prompt, tools: Sequence[Tool]) -> str:
        async with asyncio.timeout(self.settings.max_seconds), _client(self.settings) as client:
            return await self._converse(client, incident_id, prompt, tools)

    async def _converse(self, client: Client, incident_id: str, prompt: Prompt, tools: Sequence[Tool]) -> str:
        """Send, run the tools that are called for, send again, until there is an answer or a limit."""
        from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart  # noqa: PLC0415

        clean = self.redactor.redact
        system, user = SystemPromptPart(content=clean(prompt.system)), UserPromptPart(content=clean(prompt.user))
        messages: list[ModelMessage] = [ModelRequest(parts=[system, user])]
        size = len(prompt.system) + len(prompt.user)
        while True:
            response = await self._send(client, incident_id, messages, size, tools)
            if not response.tool_calls:
                return response.text or ""
            returns = [self._run(call, tools, place) for place, call in enumerate(response.tool_calls)]
            messages += [response, ModelRequest(parts=returns)]
            size += sum(len(str(part.content)) for part in returns) + self.settings.max_answer_tokens

    async def _send(
        self, client: Client, incident_id: str, messages: Sequence[ModelMessage], size: int, tools: Sequence[Tool]
    ) -> ModelResponse:
        from pydantic_ai.direct import model_request  # noqa: PLC0415
        from pydantic_ai.exceptions import ModelHTTPError  # noqa: PLC0415
        from pydantic_ai.settings import ModelSettings  # noqa: PLC0415

        settings = ModelSettings(
            max_tokens=self.settings.max_answer_tokens,
            timeout=self.settings.max_seconds,
            max_retries=SEND_AGAIN_COUNT,
        )
        reserved = self.purse.reserve(incident_id, size // CHARACTERS_PER_TOKEN)
        try:
            response = await model_request(
                client, messages, model_settings=settings, model_request_parameters=_offered(tools), instrument=False
            )
        except ModelHTTPError:
            self.purse.settle(reserved, 0, 0)
            raise
        self._settle(reserved, response)
        return response

    def _settle(self, reserved: Reservation, response: ModelResponse) -> None:
        """Count what the provider says it used; a provider that says nothing is taken to have used all that was reserved."""
        used = response.usage
        if used.input_tokens or used.output_tokens:
            self.purse.settle(reserved, used.input_tokens, used.output_tokens)

    def _run(self, call: ToolCallPart, tools: Sequence[Tool], place: int) -> ToolReturnPart:
        from pydantic_ai.messages import ToolReturnPart  # noqa: PLC0415

        tool = next((tool for tool in tools if tool.name == call.tool_name), None)
        if tool is None:
            text = "Not done: you may not call this. Answer with what you know."
        elif place >= CALLS_PER_STEP:
            text = "Not done: too many calls at once."
        else:
            text = tool.run(call.args_as_dict())
        return ToolReturnPart(
            tool_name=call.tool_name, content=self.redactor.redact(text), tool_call_id=call.tool_call_id
        )


def _offered(tools: Sequence[Tool]) -> ModelRequestParameters:
    from pydantic_ai.models import ModelRequestParameters  # noqa: PLC0415
    from pydantic_ai.tools import ToolDefinition  # noqa: PLC0415

    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(
                name=tool.name,
                description=tool.description,
                parameters_json_schema={"type": "object", "properties": dict(tool.parameters)},
            )
            for tool in tools
        ]
    )


def _client(settings: Settings) -> Client:
    """A client of its own per question: it belongs to the event loop that it is used in."""
    provider, name = settings.id.split(":", 1)
    try:
        return _built(provider, name, settings)
    except ImportError as error:
        package = f"mendline[{EXTRAS[provider]}]" if provider in EXTRAS else f"pydantic-ai-slim[{provider}]"
        raise ConfigError(
            f"`model.id` is `{settings.id}`, but the client of `{provider}` is not installed; run `pip install '{package}'`"
        ) from error
    except TypeError as error:
        raise ConfigError(
            f"`model`: the provider `{provider}` takes no `base_url` or `api_key`; leave them out"
        ) from error
    # UserError (no key, unknown model) and ValueError (unknown provider); their texts name what is missing.
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"`model.id` `{settings.id}` cannot be used: {error}") from error


def _built(provider: str, name: str, settings: Settings) -> Client:
    from pydantic_ai.models import infer_model  # noqa: PLC0415
    from pydantic_ai.providers import Provider, infer_provider_class  # noqa: PLC0415

    address = settings.base_url or (OLLAMA if provider == "ollama" else None)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    if provider == "openai":  # the API that every compatible server speaks
        provider = "openai-chat"
    given = {"base_url": address, "api_key": key or ("none" if address else None)}

    def make(_: str) -> Provider[Any]:
        return infer_provider_class(provider)(**{key: value for key, value in given.items() if value is not None})

    return infer_model(f"{provider}:{name}", provider_factory=make)


def _reason(error: Exception) -> str:
    """One line of ours: what a provider's error says may be anything."""
    from pydantic_ai import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.ModelHTTPError):
        return f"it answered HTTP {error.status_code}"
    if isinstance(error, exceptions.ModelTimeoutError | exceptions.ModelRequestTimeout):
        return "it did not answer in time"
    if isinstance(error, exceptions.ModelConnectionError):
        return "it could not be reached"
    return f"its reply could not be read ({type(error).__name__})"
