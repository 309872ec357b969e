"""What the sites have in common: a Django project in one process, its database and directories from the environment."""

from __future__ import annotations

import os
from typing import Any

DATABASE = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ.get("SITE_HOST"),
    "PORT": os.environ.get("SITE_PORT"),
    "NAME": os.environ.get("SITE_DATABASE"),
    "USER": os.environ.get("SITE_USER"),
    "PASSWORD": os.environ.get("SITE_PASSWORD"),
}

DJANGO = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles", "postgres"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]


def set_up(apps: list[str], *, middleware: tuple[str, ...] = (), **more: Any) -> None:
    """Configure Django for the module that runs, whose `urlpatterns` are the site's."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only in tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="__main__",
        DATABASES={"default": DATABASE},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=[*apps, *(f"django.contrib.{name}" for name in DJANGO)],
        MIDDLEWARE=[*MIDDLEWARE, *middleware],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": PROCESSORS},
            }
        ],
        STATIC_URL="/static/",
        MEDIA_ROOT=os.environ["SITE_FILES"],
        MEDIA_URL="/media/",
        USE_TZ=True,
        **more,
    )
    django.setup()


def a_user() -> Any:
    """Return a client in which the site's administrator is logged in; made when there is none."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    users = get_user_model()
    user = users.objects.filter(username="admin").first() or users.objects.create_superuser("admin", "a@b.c", "secret")
    client = Client()
    client.force_login(user)
    return client


def a_picture(colour: str, size: int = 64) -> bytes:
    from io import BytesIO

    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (size, size), colour).save(data, "PNG")
    return data.getvalue()
