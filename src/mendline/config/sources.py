"""`sources`: what the stages read from, and how it is asked whether it is well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mendline.config.section import Section


def _url_parts(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take a URL apart; what is wrong is said without the URL, which may hold a secret."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not url.isprintable() or " " in url:
        raise ValueError(f"it must be {' or '.join(f'{scheme}://HOST' for scheme in schemes)}, without blanks")
    return parts


def _is_http(url: SecretStr) -> SecretStr:
    _url_parts(url.get_secret_value(), ("https", "http"))
    return url


def _is_http_proxy(url: SecretStr) -> SecretStr:
    _url_parts(url.get_secret_value(), ("http",))
    return url


def _is_header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise ValueError(
            "it has a line break, a blank at an end or a letter that is not ASCII; see how the variable is set"
        )
    return value


HttpUrl = Annotated[SecretStr, AfterValidator(_is_http)]


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]


HeaderValue = Annotated[SecretStr, AfterValidator(_is_header_value)]


Host = Annotated[str, Field(pattern=r"^[^\s/@?#\[\]]+$")]


class BasicAuth(Section):
    """A user name and a password, sent to the source's own host alone."""

    kind: Literal["basic"] = Field(description="How the source wants to be told who asks.")
    username: str = Field(pattern=r"^[^:]+$", description="The user's name.")
    password: SecretStr = Field(description="Use ${VARIABLE}.")


class BearerAuth(Section):
    """A token, sent to the source's own host alone."""

    kind: Literal["bearer"] = Field(description="How the source wants to be told who asks.")
    token: HeaderValue = Field(description="Use ${VARIABLE}.")


class NetworkSource(Section):
    """What every source has that is asked over the network."""

    timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How long a probe may take in all, from the name to the last byte."
    )
    status_page: HttpUrl | None = Field(
        default=None,
        description="A page about the source's health, read beside the probe and without credentials: the status.json of an "
        "Atlassian Statuspage (https://HOST/api/v2/status.json), of any other page only whether it answers.",
    )


class TlsSource(NetworkSource):
    """What every source has whose certificate is looked at."""

    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) to trust for this source beside those of the system, relative to mendline.yaml.",
    )


class HttpSource(TlsSource):
    """A source behind HTTP, for `check_api_status`. Only its own host is asked; a redirect is told, not followed."""

    kind: Literal["http"] = Field(description="The kind of source.")
    url: HttpUrl = Field(
        description="The URL that a healthy source answers by itself, without a redirect (a cheap one; Mendline only sends GET)."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Sent with each probe; use ${VARIABLE} for secrets."
    )
    auth: Annotated[BasicAuth | BearerAuth, Field(discriminator="kind")] | None = Field(
        default=None, description="The stage's own credentials, in place of an `Authorization` header."
    )
    expect_content_type: str | None = Field(
        default=None, description="e.g. application/json: another type means the source is not itself."
    )
    proxy: Annotated[SecretStr, AfterValidator(_is_http_proxy)] | None = Field(
        default=None,
        description="http://USER:PASSWORD@HOST:PORT, where the source is only reached through a proxy. The environment's "
        "HTTP_PROXY and its like are not read.",
    )

    @model_validator(mode="after")
    def _one_authorization(self) -> HttpSource:
        in_url = "@" in urlsplit(self.url.get_secret_value()).netloc
        in_headers = any(name.lower() == "authorization" for name in self.headers)
        if in_url + in_headers + (self.auth is not None) > 1:
            raise ValueError(
                "credentials are given twice; keep one of `auth`, an `Authorization` header and those in `url`"
            )
        return self


class TcpSource(TlsSource):
    """A source that is no HTTP (SFTP, FTP, a broker ...): whether its name, its port and its certificate are well."""

    kind: Literal["tcp"] = Field(description="The kind of source.")
    host: Host = Field(description="Its name or address.")
    port: int = Field(ge=1, le=65535, description="Its port.")
    tls: bool = Field(
        default=False, description="Whether the connection begins with TLS; its certificate is then checked."
    )


class DatabaseSource(NetworkSource):
    """A source database: whether it lets Mendline in and answers `SELECT 1`."""

    kind: Literal["database"] = Field(description="The kind of source.")
    url: SecretStr = Field(description="A SQLAlchemy URL; use ${VARIABLE} for secrets.")


class FileSource(Section):
    """Files that a partner or a producer drops."""

    kind: Literal["file"] = Field(description="The kind of source.")
    path: str = Field(description="A path or glob, relative to mendline.yaml.")


Source = Annotated[HttpSource | TcpSource | DatabaseSource | FileSource, Field(discriminator="kind")]
