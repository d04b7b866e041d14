"""Close the desk's day: one chain of tasks for every branch, in turn."""

from celery import chain
from tasks import fetch, post, price

for branch in ("airport", "centre", "harbour"):
    posted = chain(fetch.s(branch), price.s(), post.s()).apply_async().get(timeout=18, interval=0.1)
    print(f"desk_day: {branch} closed with {posted} bookings", flush=True)
