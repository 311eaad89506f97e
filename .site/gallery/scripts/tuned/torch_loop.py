import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from sweeper.integrations.torch import Progress


class Net(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width * 16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.fc(self.dropout(torch.flatten(x, 1)))


def train(model, loader, optimizer):
    model.train()
    for data, target in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def test(model, loader):
    model.eval()
    correct = sum((model(data).argmax(1) == target).sum().item() for data, target in loader)
    return correct / len(loader.dataset)


def main(params, trial):
    parser = argparse.ArgumentParser(description="Convolutional network on digits")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args([], argparse.Namespace(**params, seed=trial.seed))

    torch.manual_seed(args.seed)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    split = train_test_split(images, torch.tensor(digits.target), test_size=0.25, random_state=0)
    train_images, test_images, train_labels, test_labels = split
    train_loader = DataLoader(TensorDataset(train_images, train_labels), 64, shuffle=True)
    test_loader = DataLoader(TensorDataset(test_images, test_labels), 500)

    model = Net(args.width, args.dropout)
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    progress = Progress(trial, model=model, optimizer=optimizer)
    for epoch in range(progress.step + 1, args.epochs + 1):
        train(model, train_loader, optimizer)
        accuracy = test(model, test_loader)
        progress.report(epoch, accuracy=accuracy)


if __name__ == "__main__":
    main()
