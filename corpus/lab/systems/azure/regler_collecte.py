"""Règle la collecte de lait d'une journée : tickets des citernes (blobs), tarifs des fermes (table), règlements (table, blob)."""

import csv
import io
import json
import logging
import os
import sys
from decimal import Decimal

from azure.data.tables import TableServiceClient
from azure.identity import ClientSecretCredential
from azure.storage.blob import BlobServiceClient, LinearRetry

logging.basicConfig(
    level=os.environ.get("NIVEAU", "INFO"),
    format="[%(asctime)s] %(levelname)s %(name)s : %(message)s",
    datefmt="%d/%m/%Y %H:%M:%S",
    stream=sys.stdout,
)
logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel("WARNING")
logging.getLogger("urllib3").setLevel(os.environ.get("NIVEAU_HTTP", "WARNING"))
journal = logging.getLogger("collecte")

COMPTE = os.environ["LAIT_COMPTE_URL"]
SEUIL_FAT = Decimal("38")


def clients():
    identite = ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
    )
    reprise = LinearRetry(backoff=0.3, retry_total=2, random_jitter_range=0)
    delais = {"connection_timeout": 2, "read_timeout": 2}
    blobs = BlobServiceClient(COMPTE, credential=identite, retry_policy=reprise, **delais)
    tables = TableServiceClient(endpoint=COMPTE, credential=identite, retry_total=2, retry_backoff_factor=0.1, **delais)
    return blobs, tables


def tickets(conteneur, nom):
    texte = conteneur.download_blob(nom).readall().decode("utf-8")
    lignes = list(csv.DictReader(io.StringIO(texte), delimiter=";"))
    journal.info("%s : %d tickets, colonnes %s", nom, len(lignes), ", ".join(lignes[0]) if lignes else "aucune")
    return lignes


def montant(ticket, ferme):
    litres, fat = Decimal(ticket["litres"]), Decimal(ticket["mg_g_l"])
    if not 0 < litres < 30000:
        raise ValueError(f"ticket {ticket['ticket']} : {litres} litres, hors des limites d'une citerne")
    prix = Decimal(str(ferme["prix_base"])) + (fat - SEUIL_FAT) * Decimal(str(ferme["bonus_mg"]))
    return (litres * prix / 1000).quantize(Decimal("0.01"))


def regler(tables, tickets_du_jour, jour):
    fermes, reglements = tables.get_table_client("fermes"), tables.get_table_client("reglements")
    connues, total = {}, Decimal(0)
    for ticket in tickets_du_jour:
        cle = (ticket["tournee"], ticket["ferme"])
        try:
            if cle not in connues:
                connues[cle] = fermes.get_entity(*cle)
            somme = montant(ticket, connues[cle])
        except Exception:
            journal.error("ticket refusé : %s ; ferme : %s", ticket, dict(connues.get(cle, {})))
            raise
        reglements.create_entity(
            {
                "PartitionKey": jour,
                "RowKey": ticket["ticket"],
                "ferme": ticket["ferme"],
                "montant": float(somme),
                "remarque": ticket["remarque"],
            }
        )
        total += somme
    journal.info("%d règlements, %d fermes, %s EUR", len(tickets_du_jour), len(connues), total)
    return total


def main(jour):
    blobs, tables = clients()
    conteneur = blobs.get_container_client("collecte")
    noms = [blob.name for blob in conteneur.list_blobs(name_starts_with=f"{jour}/")]
    journal.info("%d tournées livrées pour le %s", len(noms), jour)
    if not noms:
        sys.exit(f"rien à régler pour le {jour}")
    tous = [ticket for nom in noms for ticket in tickets(conteneur, nom)]
    total = regler(tables, tous, jour)
    bilan = json.dumps({"jour": jour, "tickets": len(tous), "total_eur": str(total)})
    blobs.get_blob_client("reglements", f"{jour}.json").upload_blob(bilan, overwrite=os.environ.get("REPRISE") == "1")
    journal.info("bilan publié")


if __name__ == "__main__":
    main(sys.argv[1])
