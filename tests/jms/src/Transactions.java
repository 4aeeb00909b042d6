import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;

/** Local transactions on the side of producers and of consumers. */
final class Transactions extends JmsTest {
    @Test
    void what_was_sent_is_seen_after_commit_and_not_before() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer other = auto(connection).createConsumer(queue());
        Session session = transacted(connection);
        sendNumbers(session, queue(), 3);
        nothing(other);
        session.commit();
        equal(numbers(0, 3), takeTexts(other, 3));
    }

    @Test
    void what_was_sent_is_gone_after_rollback() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "dropped");
        session.rollback();
        send(session, queue(), "kept");
        session.commit();
        equal(List.of("kept"), drain(queue()));
    }

    @Test
    void what_was_sent_to_a_topic_is_seen_after_commit_only() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer other = auto(connection).createConsumer(topic());
        Session session = transacted(connection);
        send(session, topic(), "dropped");
        session.rollback();
        send(session, topic(), "kept");
        nothing(other);
        session.commit();
        equal("kept", takeText(other));
        nothing(other);
    }

    @Test
    void one_commit_covers_queues_and_topics() throws Exception {
        ActiveMQConnection connection = connect();
        Session reader = auto(connection);
        MessageConsumer a = reader.createConsumer(queue("A"));
        MessageConsumer b = reader.createConsumer(queue("B"));
        MessageConsumer c = reader.createConsumer(topic("C"));
        Session session = transacted(connection);
        MessageProducer producer = session.createProducer(null);
        for (int i = 0; i < 3; i++) {
            producer.send(queue("A"), session.createTextMessage("a" + i));
            producer.send(topic("C"), session.createTextMessage("c" + i));
            producer.send(queue("B"), session.createTextMessage("b" + i));
        }
        nothing(a);
        session.commit();
        equal(List.of("a0", "a1", "a2"), takeTexts(a, 3));
        equal(List.of("b0", "b1", "b2"), takeTexts(b, 3));
        equal(List.of("c0", "c1", "c2"), takeTexts(c, 3));
    }

    @Test
    void rolled_back_messages_come_again_in_order_and_counted() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "one", "two", "three");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        for (int round = 1; round <= 4; round++) {
            for (String text : List.of("one", "two")) {
                Message message = take(consumer);
                equal(text, ((TextMessage) message).getText());
                equal(round, deliveryCount(message), text + " delivery count");
                equal(round > 1, message.getJMSRedelivered());
            }
            session.rollback();
        }
        for (String text : List.of("one", "two", "three")) {
            Message message = take(consumer);
            equal(text, ((TextMessage) message).getText());
            equal(text.equals("three") ? 1 : 5, deliveryCount(message), text + " delivery count");
        }
        session.commit();
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void another_consumer_sees_one_more_delivery_however_often_the_first_rolled_back() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "one");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        session.rollback();
        take(consumer);
        session.rollback();
        session.close();
        Message message = take(auto(connection).createConsumer(queue()));
        equal(2, deliveryCount(message));
    }

    @Test
    void receiving_and_sending_are_one_transaction() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue("in"), "one", "two");
        session.commit();
        MessageConsumer in = session.createConsumer(queue("in"));
        MessageProducer out = session.createProducer(queue("out"));
        out.send(session.createTextMessage("dropped " + takeText(in)));
        session.rollback();
        out.send(session.createTextMessage("kept " + takeText(in)));
        session.commit();
        connection.close();
        equal(List.of("two"), drain(queue("in")));
        equal(List.of("kept one"), drain(queue("out")));
    }

    @Test
    void consumers_on_several_destinations_are_rolled_back_together() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue("A"), "a");
        send(session, queue("B"), "b");
        session.commit();
        MessageConsumer a = session.createConsumer(queue("A"));
        MessageConsumer b = session.createConsumer(queue("B"));
        equal("a", takeText(a));
        equal("b", takeText(b));
        session.rollback();
        equal("a", takeText(a));
        equal("b", takeText(b));
        session.commit();
        connection.close();
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
    }

    @Test
    void a_session_closed_without_commit_is_rolled_back() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "received");
        session.commit();
        take(session.createConsumer(queue()));
        send(session, queue(), "sent");
        session.close();
        Message message = take(auto(connection).createConsumer(queue()));
        equal("received", ((TextMessage) message).getText());
        equal(2, deliveryCount(message));
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_connection_closed_without_commit_is_rolled_back() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "received");
        session.commit();
        take(session.createConsumer(queue()));
        send(session, queue(), "sent");
        connection.close();
        equal(List.of("received"), drain(queue()));
    }

    @Test
    void a_lost_connection_is_rolled_back() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection lost = connectTo(proxy.url());
        Session session = transacted(lost);
        send(session, queue(), "received");
        session.commit();
        take(session.createConsumer(queue()));
        send(session, queue(), "sent");
        proxy.cut();
        MessageConsumer next = auto(connect()).createConsumer(queue());
        Message message = take(next);
        equal("received", ((TextMessage) message).getText());
        equal(true, message.getJMSRedelivered());
        nothing(next);
    }

    @Test
    void transactions_of_two_sessions_do_not_mix() throws Exception {
        ActiveMQConnection connection = connect();
        Session one = transacted(connection);
        Session two = transacted(connection);
        send(one, queue(), "one");
        send(two, queue(), "two");
        two.commit();
        one.rollback();
        equal(List.of("two"), drain(queue()));
    }

    @Test
    void an_empty_transaction_can_be_committed_and_rolled_back() throws Exception {
        Session session = transacted(connect());
        session.commit();
        session.rollback();
        session.commit();
    }

    @Test
    void a_consumer_reads_more_in_one_transaction_than_its_prefetch() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=10");
        Session session = transacted(connection);
        sendNumbers(session, queue(), 1000);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        equal(numbers(0, 1000), takeTexts(consumer, 1000));
        session.commit();
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_large_transaction_arrives_whole_and_in_order() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        sendNumbers(session, queue(), 5000);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        equal(numbers(0, 5000), takeTexts(consumer, 5000));
        session.commit();
    }

    @Test
    void a_listener_commits_and_rolls_back() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        CountDownLatch committed = new CountDownLatch(10);
        session.createConsumer(queue()).setMessageListener(message -> {
            try {
                if (message.getJMSRedelivered()) {
                    session.commit();
                    committed.countDown();
                } else {
                    session.rollback();
                }
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        sendNumbers(auto(connection), queue(), 10);
        check(committed.await(SOON, TimeUnit.MILLISECONDS), committed.getCount() + " missing");
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_rolled_back_topic_message_comes_again() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(topic());
        send(auto(connection), topic(), "one");
        equal(1, deliveryCount(take(consumer)));
        session.rollback();
        equal(2, deliveryCount(take(consumer)));
        session.commit();
        nothing(consumer);
    }

    @Test
    void a_rolled_back_durable_message_comes_again_after_reconnecting() throws Exception {
        for (int round = 1; round <= 3; round++) {
            ActiveMQConnection connection = unstarted(url(""));
            connection.setClientID(name());
            connection.start();
            Session session = transacted(connection);
            MessageConsumer subscriber = session.createDurableSubscriber(topic(), "durable");
            if (round == 1) {
                send(auto(connection), topic(), "one");
            }
            if (round < 3) {
                equal("one", takeText(subscriber));
                if (round == 2) {
                    session.commit();
                }
            } else {
                nothing(subscriber);
                subscriber.close();
                session.unsubscribe("durable");
            }
            connection.close();
        }
    }

    @Test
    void closing_a_consumer_before_commit_keeps_what_it_received_in_the_transaction() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "one", "two");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        equal("one", takeText(consumer));
        consumer.close();
        session.commit();
        connection.close();
        equal(List.of("two"), drain(queue()));
    }

    @Test
    void closing_a_consumer_before_rollback_gives_back_what_it_received() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "one", "two");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        equal("one", takeText(consumer));
        consumer.close();
        session.rollback();
        equal(List.of("one", "two"), takeAll(auto(connection).createConsumer(queue())));
    }

    @Test
    void a_transacted_message_names_the_transaction_of_its_producer() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "in a transaction");
        session.commit();
        send(auto(connection), queue(), "in none");
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        String id = take(consumer).getStringProperty("JMSXProducerTXID");
        check(id != null && id.startsWith("TX:ID:"), "id " + id);
        equal(null, take(consumer).getStringProperty("JMSXProducerTXID"));
    }

    @Test
    void asynchronous_sends_in_a_transaction_are_all_there_at_commit() throws Exception {
        ActiveMQConnection connection = connect("jms.useAsyncSend=true");
        Session session = transacted(connection);
        for (int round = 0; round < 10; round++) {
            sendNumbers(session, queue(), 50);
            session.commit();
            equal(numbers(0, 50), drain(queue()));
        }
    }

    @Test
    void a_transaction_of_which_a_send_was_refused_cannot_commit_the_rest() throws Exception {
        ActiveMQConnection owner = connect();
        TemporaryQueue gone = auto(owner).createTemporaryQueue();
        Session session = transacted(connect("jms.watchTopicAdvisories=false"));
        send(session, queue(), "one");
        owner.close();
        session.createProducer(null).send(gone, session.createTextMessage("lost"));
        JMSException refusal = refused(JMSException.class, session::commit);
        contains("COMMIT FAILED: Transaction marked rollback only", refusal.getMessage());
        equal(List.of(), drain(queue()));
        send(session, queue(), "two");
        session.commit();
        equal(List.of("two"), drain(queue()));
    }

    @Test
    void a_session_that_is_not_transacted_cannot_commit() throws Exception {
        Session session = auto(connect());
        refused(javax.jms.IllegalStateException.class, session::commit);
        refused(javax.jms.IllegalStateException.class, session::rollback);
        refused(javax.jms.IllegalStateException.class, () -> transacted(connect()).recover());
    }
}
