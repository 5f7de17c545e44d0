"""A link whose address the task pushes while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey


class PushedLink(BaseOperatorLink):
    """A link that is there from the moment the task knows the address, also while it runs or after it failed."""

    @property
    def xcom_key(self) -> str:
        """Where the address is kept; Airflow 3 looks here by itself."""
        return f"_link_{type(self).__name__}"

    def push(self, context: Context, url: str) -> None:
        """Keep the address."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty text when there is none."""
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""
