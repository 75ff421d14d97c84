"""The same workloads in other people's trainers, each with the least logging that it can do."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from workloads import EVALUATION_ROWS

if TYPE_CHECKING:
    from protocol import Marks
    from workloads import Loaded

Told = dict[str, Any]


def lightning(kept: Loaded, marks: Marks) -> Told:
    """Lightning: no logger, no checkpoints, no progress bar; losses are kept once an epoch."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = kept.model

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            x, y = batch
            loss = F.cross_entropy(self.network(x).flatten(0, -2), y.flatten())
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: list[Tensor], _: int) -> None:
            x, y = batch
            logits, classes = self.network(x).flatten(0, -2), y.flatten()
            self.log("val_loss", F.cross_entropy(logits, classes))
            self.log("val_acc", (logits.argmax(1) == classes).float().mean())

        def configure_optimizers(self) -> Any:
            optimizer = kept.optimizer()
            scheduler = {"scheduler": kept.cosine(optimizer), "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    class Clock(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            marks.mark()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            marks.mark()

    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=kept.workload.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Clock()],
    )
    batches = DataLoader(TensorDataset(kept.x, kept.y), kept.workload.batch_size, shuffle=True)
    trainer.fit(
        Module(), batches, DataLoader(TensorDataset(kept.val_x, kept.val_y), EVALUATION_ROWS)
    )
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {
        "val_loss": seen["val_loss"],
        "train_loss": seen["train_loss"],
        "steps": trainer.global_step,
    }


class _Rows(Dataset[dict[str, Tensor]]):
    """Rows as the mappings that the Trainer wants."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class _WithLoss(nn.Module):
    """The network as the Trainer calls it: its forward pass gives the loss."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.network(x)
        return {
            "loss": F.cross_entropy(logits.flatten(0, -2), labels.flatten()),
            "logits": logits,
        }


def hugging_face(kept: Loaded, marks: Marks) -> Told:
    """Hugging Face's Trainer: a log line and an evaluation an epoch, nothing saved, no bar."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def on_train_begin(self, *arguments: Any, **named: Any) -> None:
            marks.mark()

        def on_evaluate(self, *arguments: Any, **named: Any) -> None:
            marks.mark()

    optimizer = kept.optimizer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=_WithLoss(kept.model),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=kept.workload.epochs,
                per_device_train_batch_size=kept.workload.batch_size,
                per_device_eval_batch_size=EVALUATION_ROWS,
                eval_strategy="epoch",
                logging_strategy="epoch",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                max_grad_norm=0.0,
                prediction_loss_only=True,
                label_names=["labels"],
                use_cpu=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=_Rows(kept.x, kept.y),
            eval_dataset=_Rows(kept.val_x, kept.val_y),
            optimizers=(optimizer, kept.cosine(optimizer)),  # type: ignore[arg-type]
            callbacks=[Clock()],
        )
        trainer.train()
    history = trainer.state.log_history
    return {
        "val_loss": [row["eval_loss"] for row in history if "eval_loss" in row][-1],
        "train_loss": [row["loss"] for row in history if "loss" in row][-1],
        "steps": trainer.state.global_step,
    }


def keras(kept: Loaded, marks: Marks) -> Told:
    """Keras on torch: the same network in a TorchModuleWrapper, Keras's optimizer and schedule."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    workload = kept.workload

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            marks.mark()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            marks.mark()

    given = {key: value for key, value in workload.optimizer.items() if key not in ("name", "lr")}
    if "betas" in given:
        given["beta_1"], given["beta_2"] = given.pop("betas")
        given["epsilon"] = 1e-8  # torch's default
    made = keras.optimizers.SGD if workload.optimizer["name"] == "sgd" else keras.optimizers.AdamW
    schedule = keras.optimizers.schedules.CosineDecay(workload.lr, kept.steps)
    model = keras.Sequential([keras.layers.TorchModuleWrapper(kept.model)])
    model.compile(
        optimizer=made(learning_rate=schedule, **given),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = model.fit(
        kept.x.numpy(),
        kept.y.numpy(),
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        validation_data=(kept.val_x.numpy(), kept.val_y.numpy()),
        validation_batch_size=EVALUATION_ROWS,
        verbose=0,
        callbacks=[Clock()],
    ).history
    return {
        "val_loss": history["val_loss"][-1],
        "train_loss": history["loss"][-1],
        "steps": int(model.optimizer.iterations),
    }
