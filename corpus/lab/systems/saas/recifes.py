"""Traz os levantamentos de recifes das planilhas dos mergulhadores para a base, e devolve o resumo."""

import logging
import os
import sqlite3
from statistics import fmean

from google.oauth2 import service_account
from googleapiclient.discovery import build

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s | %(levelname)s | %(name)s | %(message)s", datefmt="%d/%m/%Y %H:%M:%S"
)
log = logging.getLogger("recifes")

PLANILHA = os.environ["PLANILHA_ID"]
ABAS = {"mergulhos": "Mergulhos!A1:F", "especies": "Especies!A1:C", "transectos": "Transectos!A1:H"}
TENTATIVAS = 2


def servico():
    credenciais = service_account.Credentials.from_service_account_file(
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"], scopes=["https://www.googleapis.com/auth/spreadsheets"]
    )
    opcoes = {"api_endpoint": os.environ["SHEETS_ENDPOINT"]}
    return build("sheets", "v4", credentials=credenciais, client_options=opcoes, cache_discovery=False)


def linhas(planilhas, aba):
    resposta = planilhas.values().get(spreadsheetId=PLANILHA, range=ABAS[aba]).execute(num_retries=TENTATIVAS)
    cabecalho, *resto = resposta["values"]
    log.info("%s: %d linhas, colunas %s", aba, len(resto), " ".join(cabecalho))
    return [dict(zip(cabecalho, linha, strict=False)) for linha in resto]


def numero(texto):
    return float(texto.replace(".", "").replace(",", "."))


def carregar(base, planilhas):
    for m in linhas(planilhas, "mergulhos"):
        base.execute(
            "INSERT INTO mergulho VALUES (?, ?, ?, ?, ?)",
            (m["codigo"], m["recife"], m["data"], m["mergulhador"], m.get("visibilidade_m")),
        )
    for e in linhas(planilhas, "especies"):
        base.execute("INSERT INTO especie VALUES (?, ?, ?)", (e["sigla"], e["nome"], e.get("grupo")))
    lidas = linhas(planilhas, "transectos")
    for t in lidas:
        base.execute(
            "INSERT INTO contagem VALUES (?, ?, ?, ?, ?)",
            (t["mergulho"], t["especie"], int(t["transecto"]), t.get("individuos"), numero(t["cobertura_pct"])),
        )
    log.info("%d contagens gravadas", len(lidas))
    return lidas


def resumir(base, planilhas):
    recifes = base.execute(
        "SELECT recife, count(*), sum(individuos) FROM contagem JOIN mergulho USING (codigo) GROUP BY recife ORDER BY 1"
    ).fetchall()
    medias = [
        fmean(
            c
            for (c,) in base.execute(
                "SELECT cobertura FROM contagem JOIN mergulho USING (codigo) WHERE recife = ?", (r,)
            )
        )
        for r, _, _ in recifes
    ]
    corpo = {"values": [[*recife, round(media, 2)] for recife, media in zip(recifes, medias, strict=True)]}
    planilhas.values().append(spreadsheetId=PLANILHA, range="Resumo!A1", valueInputOption="RAW", body=corpo).execute(
        num_retries=TENTATIVAS
    )
    log.info("resumo de %d recifes devolvido", len(recifes))


base = sqlite3.connect("base/recifes.db", timeout=1)
base.execute("PRAGMA foreign_keys = ON")
planilhas = servico().spreadsheets()
with base:
    carregar(base, planilhas)
    resumir(base, planilhas)
log.info("fim")
