"""Tables of the museum's register."""

import enum
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class State(enum.Enum):
    shown = "shown"
    stored = "stored"
    restored = "restored"


class Room(Base):
    __tablename__ = "room"

    code: Mapped[str] = mapped_column(String(4), primary_key=True)
    title: Mapped[str]
    exhibits: Mapped[list["Exhibit"]] = relationship(back_populates="room")


class Exhibit(Base):
    __tablename__ = "exhibit"

    accession: Mapped[str] = mapped_column(String(12), primary_key=True)
    title: Mapped[str]
    state: Mapped[State]
    acquired: Mapped[date]
    insured: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    room_code: Mapped[str] = mapped_column(ForeignKey("room.code"))
    release: Mapped[int] = mapped_column(default=1)
    room: Mapped[Room] = relationship(back_populates="exhibits")
    __mapper_args__ = {"version_id_col": release}  # noqa: RUF012


class Inspection(Base):
    __tablename__ = "inspection"

    id: Mapped[int] = mapped_column(primary_key=True)
    accession: Mapped[str] = mapped_column(ForeignKey("exhibit.accession"))
    inspected_at: Mapped[datetime]
    humidity: Mapped[float]
