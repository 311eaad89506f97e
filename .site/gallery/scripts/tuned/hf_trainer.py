import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from sweeper.integrations.huggingface import ReportEvaluations


def load_data():
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    examples = [
        {"pixel_values": image, "labels": int(label)}
        for image, label in zip(images, digits.target, strict=True)
    ]
    return train_test_split(examples, test_size=0.25, random_state=0)


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    return {"accuracy": (logits.argmax(-1) == labels).mean().item()}


def main(params, trial):
    parser = argparse.ArgumentParser(description="Tiny vision transformer on digits")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args([], argparse.Namespace(**params, seed=trial.seed))

    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=0.1,
        num_labels=10,
    )
    training_args = TrainingArguments(
        output_dir=trial.folder,
        learning_rate=args.lr,
        weight_decay=args.weight_decay,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=500,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        seed=args.seed,
        use_cpu=True,
    )
    train_dataset, eval_dataset = load_data()
    trainer = Trainer(
        model_init=lambda: ViTForImageClassification(config),
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        compute_metrics=compute_metrics,
        callbacks=[ReportEvaluations(trial)],
    )
    trainer.train(resume_from_checkpoint=trial.restore())
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
