"""The tables of the freight desk."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Carrier(Base):
    __tablename__ = "carrier"
    carrier_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))


class Shipment(Base):
    __tablename__ = "shipment"
    consignment: Mapped[str] = mapped_column(String(20), primary_key=True)
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carrier.carrier_id"))
    depot: Mapped[str] = mapped_column(String(3))
    goods: Mapped[str] = mapped_column(String(40))
    weight_kg: Mapped[Decimal] = mapped_column(Numeric(8, 2))
    collected_at: Mapped[datetime]
    carrier: Mapped[Carrier] = relationship()
