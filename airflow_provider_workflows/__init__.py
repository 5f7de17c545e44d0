"""Apache Airflow provider for Bitrix24 business processes and Domo workflows."""

__version__ = "0.1.0"
#: Address of the repository on GitHub, with no slash at its end. Error messages, the README on PyPI and Airflow's page
#: of providers lead there as soon as it is set, which a release does.
REPOSITORY = ""


def docs_link(page: str) -> str:
    """Return the address of a page of the docs; while no repository is set, its path in the sources.

    :param page: its file in ``docs``, perhaps with an anchor.
    """
    return f"{REPOSITORY}/blob/v{__version__}/docs/{page}" if REPOSITORY else f"docs/{page}"
